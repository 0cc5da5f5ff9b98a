# The same in every notebook: get the code, install what is missing, say what machine this is.
import subprocess
import sys

if "google.colab" in sys.modules:  # torchao: peft refuses the one that Colab has
    get = "git clone -q --depth 1 --branch REF https://github.com/REPO /content/tv </dev/null"
    get = f"pip install -q torchmetrics && pip uninstall -q -y torchao && {get}"
    failed, said = subprocess.getstatusoutput(f"test -d /content/tv || ({get})")
    assert not failed, f"{said}\nNo code: is the address in this cell right, and the network there?"
sys.path[:0] = ["/content/tv", "..", "."]
from tvhelpers.show import notebook

notebook.start()
