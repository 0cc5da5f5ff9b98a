"""A kernel that loses what threads send to widgets, as in Colab (googlecolab/colabtools#3373).

`install()` in a cell: from the next cell on, messages for widgets and displays reach the browser
only while the kernel handles a cell or a message of a widget, in that thread.
"""

import inspect
import threading

HANDLED = ("execute_request", "comm_open", "comm_msg", "comm_close")
LOST = {*HANDLED, "display_data", "update_display_data", "clear_output"}


def install(kernel=None) -> list[str]:
    """Filter what a kernel sends, by default this one; return the kinds of what is lost."""
    if kernel is None:
        from IPython import get_ipython

        kernel = get_ipython().kernel
    here, lost, send = threading.local(), [], kernel.session.send

    def marked(handler):
        async def handle(*given, **named):
            here.depth = getattr(here, "depth", 0) + 1
            try:
                answer = handler(*given, **named)
                return await answer if inspect.isawaitable(answer) else answer
            finally:
                here.depth -= 1

        return handle

    def filtered(stream, kind, *given, **named):
        name = kind if isinstance(kind, str) else kind["header"]["msg_type"]
        if name in LOST and not getattr(here, "depth", 0):
            lost.append(name)
            return None
        return send(stream, kind, *given, **named)

    for name in HANDLED:
        kernel.shell_handlers[name] = marked(kernel.shell_handlers[name])
    kernel.session.send = filtered
    return lost
