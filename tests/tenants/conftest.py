"""A package of a user's own, outside this repository."""

import pytest


@pytest.fixture
def own_package(tmp_path, monkeypatch):
    """Writes a module and one YAML below its conf/, allows it, and returns the options that find both."""

    def write(module, source, option, content):
        package, file = tmp_path / "package", tmp_path / "package" / "conf" / f"{option}.yaml"
        file.parent.mkdir(parents=True)
        (package / f"{module}.py").write_text(source)
        file.write_text(content)
        monkeypatch.syspath_prepend(package)
        monkeypatch.setenv("VITLAB_TARGETS", module)
        return "--config-dir", str(package / "conf")

    return write
