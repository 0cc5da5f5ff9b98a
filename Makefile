# make demo   eight pictures into out/demo/
# make test   lint and tests, as continuous integration runs them
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test clean

demo: $(VENV)/ready
	$(BIN)/python -m tvhelpers generate --out out/demo --seed 7 \
	  "green bomber jacket" "brown leather belt" "formal black dress" "V-neck t-shirt" \
	  "short overalls" "black sweatsuit" "tartan skirt" "black high-waisted skirt"
	@echo "open out/demo/grid.png"

test: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -q

# torch alone first: its CPU build is all that is needed, and nothing after it may replace it.
$(VENV)/ready: requirements.txt requirements-dev.txt constraints.txt pyproject.toml
	@$(PYTHON) -c "import sys; sys.exit('python 3.11 or newer is needed, this is ' + sys.version.split()[0]) if sys.version_info < (3, 11) else 0"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -r requirements-dev.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt --no-deps -e .
	touch $@

clean:
	rm -rf $(VENV) out
