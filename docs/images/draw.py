"""Draws the pictures of the algorithms: `python docs/images/draw.py` writes the SVG files beside itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html import escape
from pathlib import Path

CELL = 18
PLAIN, PIXEL, ZERO, WEIGHT, RESULT = "#ffffff", "#9ecae1", "#e5e5e5", "#fdd0a2", "#a1d99b"
LINE = "#444444"

Colour = Callable[[int, int], str]


def grid(x: int, y: int, columns: int, rows: int, colour: Colour | str, cell: int = CELL) -> Iterator[str]:
    """A table of cells; colour is one, or that of (column, row)."""
    for row in range(rows):
        for column in range(columns):
            fill = colour if isinstance(colour, str) else colour(column, row)
            yield (
                f'<rect x="{x + column * cell}" y="{y + row * cell}" width="{cell}" height="{cell}" '
                f'fill="{fill}" stroke="{LINE}" stroke-width="0.7"/>'
            )


def text(x: int, y: int, words: str, anchor: str = "start") -> Iterator[str]:
    yield f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="#000000">{escape(words)}</text>'


def arrow(x1: int, y1: int, x2: int, y2: int) -> Iterator[str]:
    line = f'x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"'
    yield f'<line {line} stroke="{LINE}" stroke-width="1.4" marker-end="url(#head)"/>'


def picture(width: int, height: int, title: str, parts: Sequence[Iterator[str]]) -> str:
    body = "\n".join(line for part in parts for line in part)
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"
 role="img" font-family="sans-serif" font-size="12">
<title>{escape(title)}</title>
<defs><marker id="head" markerWidth="8" markerHeight="8" refX="6" refY="3" orient="auto">
<path d="M0,0 L6,3 L0,6 z" fill="{LINE}"/></marker></defs>
<rect width="{width}" height="{height}" fill="#ffffff"/>
{body}
</svg>
"""


def _padded(column: int, row: int) -> str:
    """A 4x4 image with one pixel of padding."""
    return PIXEL if 0 < column < 5 and 0 < row < 5 else ZERO


def _patch(column: int, row: int) -> str:
    """The matrix of that image for a 3x3 kernel: a row for each output pixel, a column for each tap."""
    (i, j), (r, s) = divmod(row, 4), divmod(column, 3)
    return _padded(j + s, i + r)


def im2row() -> str:
    return picture(
        620,
        190,
        "im2row copies each patch into a row of a matrix, which is multiplied by the weights",
        [
            text(20, 20, "x, padded"),
            grid(20, 30, 6, 6, _padded),
            arrow(138, 84, 178, 84),
            text(140, 72, "copy"),
            text(190, 20, "patches: OH·OW × taps·IC"),
            grid(190, 30, 9, 8, _patch),
            text(366, 104, "×"),
            text(390, 20, "w"),
            grid(390, 30, 4, 9, WEIGHT, 15),
            text(466, 104, "="),
            text(500, 20, "y: OH·OW × OC"),
            grid(500, 30, 4, 8, RESULT),
        ],
    )


def gemm() -> str:
    return picture(
        480,
        150,
        "gemm multiplies the input itself by the weights",
        [
            text(20, 20, "x: H·W rows, IC columns"),
            grid(20, 30, 5, 6, PIXEL),
            text(130, 88, "×"),
            text(190, 20, "w"),
            grid(190, 39, 4, 5, WEIGHT),
            text(286, 88, "="),
            text(320, 20, "y: H·W rows, OC columns"),
            grid(320, 30, 4, 6, RESULT),
        ],
    )


def indirect() -> str:
    return picture(
        680,
        190,
        "indirect finds each row of the matrix through a buffer of indices",
        [
            text(20, 20, "indices: one for each"),
            text(20, 35, "tap and output pixel"),
            grid(20, 46, 3, 6, lambda column, row: ZERO if row == 0 else WEIGHT),
            text(47, 59, "−1", "middle"),
            text(20, 172, "a tile of MR pixels, tap by tap"),
            arrow(80, 55, 196, 36),
            arrow(80, 92, 196, 92),
            arrow(80, 110, 196, 128),
            text(200, 20, "x, and one row of zeros"),
            grid(200, 28, 8, 1, ZERO),
            grid(200, 64, 8, 5, PIXEL),
            text(360, 104, "×"),
            text(390, 20, "a panel of w"),
            grid(390, 46, 4, 6, WEIGHT),
            text(476, 104, "="),
            text(500, 20, "MR × NR sums in registers"),
            grid(500, 64, 4, 3, RESULT),
        ],
    )


def direct() -> str:
    def region(column: int, row: int) -> str:
        edge_row, edge_column = row in (0, 6), column in (0, 8)
        if edge_row and edge_column:
            return ZERO
        return WEIGHT if edge_row else RESULT if edge_column else PIXEL

    return picture(
        640,
        170,
        "direct cuts the output into regions whose pixels need the same taps",
        [
            text(20, 20, "y of a 3x3 kernel with padding 1"),
            grid(20, 30, 9, 7, region),
            *[
                part
                for number, (colour, words) in enumerate(
                    (
                        (PIXEL, "interior: all taps lie inside x"),
                        (WEIGHT, "edge rows: 2 of 3 rows of taps"),
                        (RESULT, "edge columns: 2 of 3 columns of taps"),
                        (ZERO, "corners, and what fills no tile: a few lower tiles, all taps"),
                    )
                )
                for part in (
                    grid(210, 36 + 30 * number, 1, 1, colour),
                    text(236, 50 + 30 * number, words),
                )
            ],
        ],
    )


def kn2() -> str:
    return picture(
        640,
        225,
        "the kn2 family: a product for each tap, shifted and added",
        [
            text(20, 20, "x"),
            grid(20, 30, 5, 5, PIXEL),
            text(120, 80, "×"),
            text(132, 20, "w of tap (0, 0)"),
            grid(150, 48, 3, 3, WEIGHT),
            text(216, 80, "="),
            text(240, 20, "plane of that tap"),
            grid(240, 30, 5, 5, RESULT),
            arrow(336, 75, 388, 92),
            text(338, 60, "shifted"),
            text(400, 20, "y: added"),
            grid(400, 30, 5, 5, lambda column, row: RESULT if column > 0 and row > 0 else PLAIN),
            text(500, 60, "repeated for"),
            text(500, 76, "KH·KW taps"),
            text(20, 160, "kn2row, kn2col: all planes first, then one sum: KH·KW planes of memory"),
            text(20, 184, "kn2row-as, kn2col-as: each plane is added before the next is computed: one plane"),
            text(20, 208, "kn2row-aa: the product is added to y directly: no plane"),
        ],
    )


def winograd() -> str:
    return picture(
        640,
        190,
        "winograd F(2x2, 3x3): transform patches, 16 matrix products, transform back",
        [
            text(20, 20, "x: 4x4 patches, 2 apart"),
            grid(20, 30, 6, 4, lambda column, row: PIXEL if column < 4 else ZERO),
            arrow(134, 66, 186, 66),
            text(138, 56, "Bᵀ d B"),
            text(200, 20, "16 places, each"),
            text(200, 35, "patches × IC"),
            grid(200, 44, 4, 4, PIXEL),
            text(282, 84, "×"),
            text(300, 35, "G g Gᵀ"),
            grid(300, 44, 4, 4, WEIGHT),
            text(382, 84, "="),
            text(400, 35, "patches × OC"),
            grid(400, 44, 4, 4, RESULT),
            arrow(478, 80, 530, 80),
            text(480, 70, "Aᵀ m A"),
            text(545, 35, "2x2 of y"),
            grid(545, 62, 2, 2, RESULT),
            text(20, 150, "16 multiplications for 4 outputs, where the definition has 36."),
            text(20, 172, "A band of patches at a time, so that both matrices stay in the cache."),
        ],
    )


def depthwise() -> str:
    def used(column: int, row: int) -> str:
        return PIXEL if 1 <= column <= 5 else PLAIN

    return picture(
        640,
        140,
        "depthwise: each channel by itself, a tile of pixels of one row by channels",
        [
            text(20, 20, "x: pixels of a row"),
            *[
                grid(20, 30 + 24 * row, 9, 1, lambda column, _: PIXEL if 1 <= column <= 5 else PLAIN)
                for row in range(3)
            ],
            text(20, 124, "3 rows of taps; neighbouring outputs share loads"),
            text(200, 70, "×"),
            text(225, 20, "w: 3x3 of each channel"),
            grid(235, 39, 3, 3, WEIGHT),
            text(340, 70, "="),
            text(390, 20, "y: MR pixels of one row, NR channels"),
            grid(390, 54, 3, 1, RESULT),
        ],
    )


def data_flow() -> str:
    steps = ("descriptor", "ConvShape", "TIR", "schedule", "LLVM", "link", "Kernel (.so)", "Conv", "y")
    parts: list[Iterator[str]] = []
    x = 10
    for number, step in enumerate(steps):
        width = 22 + 7 * len(step)
        fill = RESULT if step in ("Kernel (.so)", "y") else PIXEL if number < 2 else PLAIN
        parts.append(iter([f'<rect x="{x}" y="20" width="{width}" height="30" rx="4" fill="{fill}" stroke="{LINE}"/>']))
        parts.append(text(x + width // 2, 39, step, "middle"))
        if step != steps[-1]:
            parts.append(arrow(x + width, 35, x + width + 18, 35))
        x += width + 20
    return picture(x, 70, "from a descriptor to an output", parts)


PICTURES = (im2row, gemm, indirect, direct, kn2, winograd, depthwise, data_flow)


def main() -> None:
    for draw in PICTURES:
        Path(__file__).with_name(f"{draw.__name__.replace('_', '-')}.svg").write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
