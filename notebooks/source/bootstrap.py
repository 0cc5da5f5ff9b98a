# The same in every notebook: get the code, install what is missing, say what machine this is.
import os
import sys

if "google.colab" in sys.modules and not os.path.isdir("/content/tv"):
    get = "git clone -q --depth 1 https://github.com/REPO /content/tv"
    assert os.system(f"pip install -q torchmetrics && {get}") == 0, "run this cell again"
    os.system("pip uninstall -q -y torchao")  # peft refuses the one that Colab has
sys.path[:0] = ["/content/tv", "..", "."]
from tvhelpers.show import notebook

notebook.start()
