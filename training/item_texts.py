"""What the catalogue says of an item, as one text: for models on content."""

import pyarrow as pa

TEXT_COLUMNS = ("title", "category_path", "brand", "description", "attributes")


def item_texts(items: pa.Table) -> list[str]:
    """The words of each row: of `TEXT_COLUMNS`, those that the table has."""
    columns = [items[name].to_pylist() for name in TEXT_COLUMNS if name in items.column_names]
    return [" ".join(filter(None, parts)) for parts in zip(*columns, strict=True)]
