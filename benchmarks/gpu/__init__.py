"""The minutes in which a GPU is lent: is vitlab right there, is it fast, is it good? See `__main__.py`."""
