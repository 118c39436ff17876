"""What is drawn on a terminal by rich; loaded only where there is one."""

import io

from rich.box import ROUNDED
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text


def draw_panel(title: str, rows: list[tuple[str, str]], width: int) -> str:
    """Return a frame with a title, and in it names and what each is."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="cyan", max_width=34)
    table.add_column()
    for name, text in rows:
        table.add_row(Text(name), Text(text))
    # The page is made as text, as every help of click's; who prints it knows of the terminal.
    page = Console(file=io.StringIO(), force_terminal=True, width=width, highlight=False)
    with page.capture() as capture:
        page.print(Panel(table, title=title, title_align="left", box=ROUNDED, border_style="dim"))
    return capture.get()
