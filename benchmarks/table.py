"""Put the tables of what was measured, from results/*.json, into docs/measured.md.

python benchmarks/table.py
"""

import json
from pathlib import Path

import measured_data
import measured_gpu
import measured_models
import measured_scores
import measured_training

RESULTS = Path(__file__).parent / "results"
DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "measured.md"
START, END = "<!-- measured: benchmarks/table.py -->\n", "<!-- end of measured -->"
AREAS = {  # {heading: rows (result file, claim, text of the result)}
    "Data": measured_data.ROWS,
    "Training, adapters and notebooks": measured_training.ROWS + measured_gpu.rows(RESULTS),
    "mini, its adapter and CLIP": measured_models.ROWS,
    "Scores, prompt suites and studies": measured_scores.ROWS,
}


def table() -> str:
    """Return the Markdown tables, one for each area."""
    return "\n".join(f"## {area}\n\n{_rows(rows)}" for area, rows in AREAS.items())


def _rows(rows: list[tuple]) -> str:
    lines = ["| what | measured | program |", "|---|---|---|"]
    for name, claim, figure in rows:
        if (RESULTS / f"{name}.json").exists():
            result = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
            program = "gpu" if name.startswith("gpu_") else name
            lines.append(f"| {claim} | {figure(result)} | `{program}.py` |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the tables between their marks in docs/measured.md."""
    before, rest = DOCUMENT.read_text(encoding="utf-8").split(START)
    DOCUMENT.write_text(before + START + table() + END + rest.split(END)[1], encoding="utf-8")


if __name__ == "__main__":
    main()
