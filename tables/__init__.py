"""The lakehouse: what is stored (`schemas`) and the only door to it (`store`)."""

from tables.errors import TableError
from tables.schemas import LABELS, OK, REAL, TABLES, Table, image_id
from tables.store import TableStore

__all__ = ["LABELS", "OK", "REAL", "TABLES", "Table", "TableError", "TableStore", "image_id"]
