"""Each private name that vitlab takes from another library is there, and does what quirks.py says of it."""

import optuna
import pytest
import pytorch_lightning as pl
import timm
import torch
from torch import nn

from vitlab import quirks


@pytest.fixture
def trainer(tmp_path):
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return pl.Trainer(accelerator="cpu", max_steps=2, default_root_dir=tmp_path, **quiet)


def test_a_compiled_model_keeps_the_model_under_that_name():
    model = nn.Linear(2, 2)
    assert quirks.uncompiled(torch.compile(model)) is model and quirks.uncompiled(model) is model


def test_state_dicts_carry_versions_in_that_attribute():
    assert vars(nn.Linear(2, 2).state_dict()).keys() == {quirks.STATE_DICT_VERSIONS}


def test_fused_optimizers_and_no_others_step_on_scaled_gradients():
    parameters = [nn.Parameter(torch.zeros(2))]
    assert quirks.steps_on_scaled_gradients(torch.optim.AdamW(parameters, fused=True))
    assert not quirks.steps_on_scaled_gradients(torch.optim.AdamW(parameters))


def test_lightnings_names_are_those_that_a_fit_uses(trainer, tiny_training):
    module, data = tiny_training
    told, began = [], []

    class Watch(pl.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            told.append(vars(pl_module)[quirks.CURRENT_HOOK])
            if batch_idx == 1:
                before = trainer.fit_loop._data_fetcher.fetched
                quirks.restart_fetching(trainer)
                began.append((before, trainer.fit_loop._data_fetcher.fetched))

    connector, loop = trainer._signal_connector, trainer.fit_loop.epoch_loop
    assert callable(type(connector).register_signal_handlers) and callable(
        type(loop)._broadcast_sigterm_tensor
    )
    quirks.leave_signals_to_the_run(trainer)
    assert connector.register_signal_handlers() is None and loop._broadcast_sigterm_tensor() is None
    trainer.callbacks.append(Watch())
    trainer.fit(module, datamodule=data)
    assert told and None not in told
    assert began and began[0][1] < began[0][0]
    assert loop.on_save_checkpoint().keys() == quirks.loop_state(0).keys()


def test_a_trial_read_back_has_the_id_by_which_it_reports():
    study = optuna.create_study()
    asked = study.ask()
    assert quirks.trial_number_in_storage(study.get_trials()[0]) == asked._trial_id


def test_timms_tokens_have_class_token_and_positions():
    vit = timm.create_model("vit_tiny_patch16_224", img_size=32).eval()
    patches = torch.zeros(1, 4, 192)
    tokens = quirks.timm_tokens(vit, patches)
    assert torch.equal(tokens[:, 1:], vit.pos_embed[:, 1:]) and tokens.shape[1] == 5
