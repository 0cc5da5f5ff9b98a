# make demo   eight pictures into out/demo/
# make test   lint and the tests that a developer runs before a commit
# make test-all        all of them, as continuous integration runs them
# make test-colab      the tests on the versions of Colab's list
# make test-widgets7   prompt studio and study on ipywidgets 7.7.1, as Colab has it, in the classic notebook
# make test-gradio     the studio as a web page, with gradio, whose bound of pillow is below ours
# make lab             the notebooks in JupyterLab
# make studio          the prompt studio as a page in your browser
# make notebooks       build notebooks/*.ipynb from notebooks/source
# make rendered        run them on mini, and write pages with their outputs into docs/notebooks;
#                      NOTEBOOKS="00_your_photos 02_clip_checks" takes these alone
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# One thread each, so that sums are added in one order; a file's tests stay in one process.
PYTEST := -m pytest -q -n $(or $(TEST_PROCESSES),2) --dist loadfile

.PHONY: demo test test-all lint test-colab test-widgets7 test-gradio lab studio notebooks rendered clean

demo: $(VENV)/ready
	$(BIN)/python -m tvhelpers generate --out out/demo --seed 2 \
	  "green bomber jacket" "brown leather belt" "formal black dress" "V-neck t-shirt" \
	  "short overalls" "black sweatsuit" "tartan skirt" "black high-waisted skirt"
	@echo "open out/demo/grid.png"

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

test: lint
	$(BIN)/python $(PYTEST) -m "not slow"

test-all: lint
	$(BIN)/python $(PYTEST)

test-colab: .venv-colab/ready
	.venv-colab/bin/python $(PYTEST)

test-widgets7: .venv-widgets7/ready
	.venv-widgets7/bin/python -m pytest -q tests/show/test_prompt_studio.py tests/show/test_studio_kernel.py tests/show/test_photo_table.py tests/study/test_widget.py
	TV_FRONT_END=notebook .venv-widgets7/bin/python -m pytest -q tests/show/test_browser.py tests/study/test_browser.py

test-gradio: .venv-gradio/ready
	.venv-gradio/bin/python -m pytest -q tests/show/test_studio_page.py tests/show/test_browser.py tests/cli/test_studio.py

lab: $(VENV)/ready
	$(BIN)/jupyter lab notebooks

studio: .venv-gradio/ready
	.venv-gradio/bin/python -m tvhelpers studio

notebooks: $(VENV)/ready
	$(BIN)/python notebooks/build.py
	$(BIN)/ruff format notebooks

rendered: $(VENV)/ready
	$(BIN)/python notebooks/render.py $(NOTEBOOKS)

.venv-%/ready: requirements.txt constraints-%.txt constraints.txt
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install -q --disable-pip-version-check "$$(grep '^torch==' constraints.txt)" "setuptools<81"
	.venv-$*/bin/python -m pip install -q --disable-pip-version-check -c constraints-$*.txt -r requirements-$*.txt
	.venv-$*/bin/python -m pip install -q --disable-pip-version-check --no-deps -e .
	touch $@

# torch alone first: its CPU build is all that is needed, and nothing after it may replace it.
$(VENV)/ready: requirements.txt requirements-dev.txt constraints.txt pyproject.toml
	@$(PYTHON) -c "import sys; sys.exit('python 3.11 or newer is needed, this is ' + sys.version.split()[0]) if sys.version_info < (3, 11) else 0"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -r requirements-dev.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt --no-deps -e .
	touch $@

clean:
	rm -rf $(VENV) .venv-colab .venv-widgets7 .venv-gradio out
