# The same in every notebook: get the code, install what is missing, say what machine this is.
import os
import sys

if "google.colab" in sys.modules and not os.path.isdir("/content/tv"):
    os.system("git clone -q --depth 1 https://github.com/REPO /content/tv")
    os.system("pip install -q torchmetrics; pip uninstall -q -y torchao")
sys.path[:0] = ["/content/tv", "..", "."]
from tvhelpers.show import notebook

notebook.start()
