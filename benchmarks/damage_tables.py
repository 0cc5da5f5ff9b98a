"""How can tables, lists of items in JSON and the manifest be wrong?

Each is mutate(folder, rng), and changes one file in it.
"""

from sound_inputs import ROWS


def of_text(name, file, text):
    """Return a mutation that writes `text` in the place of a file."""

    def mutate(folder, rng):
        assert (folder / file).exists()
        (folder / file).write_bytes(text.encode("utf-8", "surrogateescape"))

    mutate.__name__, mutate.once = f"{file.replace('metadata', '')} {name}", True
    return mutate


CSV = {
    "path out": "file_name,caption\n../../../../etc/passwd,a\n",
    "absolute": "file_name,caption\n/etc/passwd,a\n",
    "long name": "file_name,caption\n" + "a" * 5000 + ",a\n",
    "zero byte": "file_name,caption\na\0.png,a\n",
    "open quote": 'file_name,caption\n0.png,"a\n1.png,b\n',
    "huge cell": "file_name,caption\n0.png," + "a" * 300_000,
    "latin-1": "file_name,caption\n0.png,d\udce9collet\udce9\n",
    "many columns": ",".join(f"c{i}" for i in range(20_000)) + "\n" + "," * 19_999,
    "header twice": "file_name,file_name,caption,caption\n0.png,1.png,a,b\n",
    "no header": "0.png,a\n1.png,b\n",
    "header alone": "file_name,caption\n",
    "a folder": "file_name,caption\n.,a\n",
    "more cells": "file_name,caption\n0.png,a,b,c\n",
    "less cells": "file_name,caption,product\n0.png\n",
    "unknown split": "file_name,caption,split\n0.png,a,dev\n",
    "odd weight": "file_name,caption,weight\n0.png,a,-inf\n",
    "empty names": ",,\n,,\n,,\n",
    "carriage": "file_name,caption\r0.png,a\r1.png,b\r",
    "itself": "file_name,caption\nmetadata.csv,a\n",
}
DEEP = "[" * 100_000
JSONL = {
    "deep": DEEP,
    "deep value": '{"file_name": "0.png", "text": ' + '{"a":' * 900 + "1" + "}" * 901,
    "NaN": '{"file_name": "0.png", "text": NaN, "weight": NaN}',
    "infinite weight": '{"file_name": "0.png", "text": "a", "weight": 1e999}',
    "large number": '{"file_name": "0.png", "text": ' + "9" * 5000 + "}",
    "a list": '["0.png", "a"]',
    "null": "null\nnull",
    "name a number": '{"file_name": 0, "text": "a"}',
    "name an object": '{"file_name": {"a": 1}, "text": "a"}',
    "name a list": '{"file_name": ["0.png", "1.png"], "text": "a"}',
    "text an object": '{"file_name": "0.png", "text": {"en": "a"}}',
    "path out": '{"file_name": "../../x.png", "text": "a"}',
    "zero byte": '{"file_name": "a\\u0000.png", "text": "a"}',
    "half a pair": '{"file_name": "0.png", "text": "\\ud800"}',
    "half a line": '{"file_name": "0.png", "te',
    "category a list": '{"file_name": "0.png", "category": [[], {}]}',
    "empty category": '{"file_name": "0.png", "category": " "}',
}
ITEMS = {
    "deep": DEEP,
    "less": '{"caption": "a", "attributes": {}, "product": "p", "split": ""}',
    "other types": '{"caption": 3, "attributes": [], "product": null, "split": 7}\n' * ROWS,
    "lacking": '{"caption": "a"}\n' * ROWS,
    "lists": "[1]\n" * ROWS,
    "unknown split": '{"caption": "a", "attributes": {}, "product": "p", "split": "x"}\n' * ROWS,
}
TSV = {
    "deep braces": "sku\ttitle\tkind\n{sku}\t{title}\ttee\n",
    "path out": "sku\ttitle\tkind\n../../../0\ttee\ttee\n",
    "stars": "sku\ttitle\tkind\n*\ttee\ttee\n",
    "no rows": "sku\ttitle\tkind\n",
    "other columns": "id\tname\n0\ttee\n",
    "commas": "sku,title,kind\n0,tee,tee\n",
}
JSON = {
    "deep": DEEP,
    "an object": '{"sku": "0"}',
    "numbers": "[1, 2, 3]",
    "nested": '[{"sku": {"a": [1]}, "title": [["x"]], "kind": null}]',
    "floats": '[{"sku": 0.0, "title": 1e400, "kind": "tee"}]',
    "one": '"text"',
}
YAML = {
    "bomb": "a: &a [x, x, x, x, x, x, x, x, x]\n"
    + "\n".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi"))
    + "\nrow: {kind: *i, licence: *i, obtain: x}",
    "itself": "a: &a {kind: images, licence: x, obtain: y, columns: {caption: *a}}",
    "deep": "a: " + DEEP[:5000],
    "tag": "a: !!python/object/apply:os.system ['true']",
    "types": "a: {kind: images, licence: 3, obtain: [x]}",
    "date": "2026-01-01: {kind: images}",
    "a list": "- a\n- b",
    "tabs": "a:\n\tkind: images",
    "key of keys": "? {a: b}\n: c",
    "long number": "a: " + "9" * 5000,
}
