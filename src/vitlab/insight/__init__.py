"""Looking inside a Vision Transformer: attention, explanations, and how far to trust these."""

from vitlab.insight.attention.capture import record
from vitlab.insight.attention.maps import attention_maps
from vitlab.insight.attention.stats import attention_stats
from vitlab.insight.explain import METHODS, explain
from vitlab.insight.honesty.faithfulness import faithfulness
from vitlab.insight.views.view_of import view_of

__all__ = ["METHODS", "attention_maps", "attention_stats", "explain", "faithfulness", "record", "view_of"]
