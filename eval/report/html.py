"""Builds HTML from untrusted text: everything is escaped unless it is HTML already."""
from __future__ import annotations

import base64
import html
from typing import Iterable, Sequence, Union

import cv2
import numpy as np

from common.foreign import shown
from eval.report.style import STYLE

SERIES = 6  # colours and dashes of the style; with more models they repeat


class Html(str):
    """Text that is HTML; all other text is escaped when it is inserted."""


Text = Union[str, int, Html]


def escape(text: Text) -> Html:
    """Escaped for a page, attributes included."""
    return text if isinstance(text, Html) else Html(html.escape(shown(text), quote=True))


def join(parts: Iterable[Text]) -> Html:
    """One after the other."""
    return Html("\n".join(escape(part) for part in parts))


def tag(name: str, *content: Text, **attributes: str) -> Html:
    """`<name class="...">content</name>`; an attribute's trailing underscore is dropped (class_)."""
    given = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items())
    return Html(f"<{name}{given}>{''.join(escape(part) for part in content)}</{name}>")


def paragraph(*content: Text) -> Html:
    """A paragraph."""
    return tag("p", *content)


def table(head: Sequence[Text], rows: Iterable[Sequence[Text]], caption: Text = "") -> Html:
    """A table that scrolls by itself where it is wider than the screen; the first column names the row."""
    lines = [tag("caption", caption)] if caption else []
    lines.append(tag("thead", tag("tr", *(tag("th", cell, scope="col") for cell in head))))
    body = [tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell) for cell in row[1:])) for row in rows]
    return tag("div", tag("table", *lines, tag("tbody", *body)), class_="scroll", tabindex="0")


def figure(content: Text, caption: Text, *beside: Text) -> Html:
    """A figure with its caption, beside the table of its numbers."""
    picture = tag("figure", content, tag("figcaption", caption))
    return tag("div", picture, tag("div", *beside, class_="numbers"), class_="pair")


def key(names: Sequence[str]) -> Html:
    """The legend of colours and dashes."""
    marks = [tag("span", tag("span", "", class_=f"mark s{number % SERIES}"), name, class_="entry")
             for number, name in enumerate(names)]
    return tag("p", *marks, class_="key")


def picture(image: np.ndarray, what: str, lossless: bool = False, **attributes: str) -> Html:
    """(H, W, 3) uint8 RGB as an `<img>` with embedded data, re-encoded: nothing of an untrusted file is copied."""
    kind, options = (".png", []) if lossless else (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 88])
    data = cv2.imencode(kind, np.ascontiguousarray(image[..., ::-1]), options)[1].tobytes()
    source = f"data:image/{'png' if lossless else 'jpeg'};base64,{base64.b64encode(data).decode('ascii')}"
    given = {"width": str(image.shape[1]), "height": str(image.shape[0]), **attributes}
    parts = "".join(f' {name.rstrip("_")}="{escape(value)}"' for name, value in given.items())
    return Html(f'<img src="{source}" alt="{escape(what)}"{parts}>')


def section(title: str, *content: Text) -> Html:
    """A section of the page, with the anchor for the table of contents."""
    return tag("section", tag("h2", title), *content, id=anchor(title))


def anchor(title: str) -> str:
    """The id of the section with this title."""
    return "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in title.lower())


def page(title: str, intro: Text, sections: Sequence[tuple[str, Html]], footer: Text) -> str:
    """The whole page. It loads nothing: no script, no font, no file; its content security policy forbids requests."""
    contents = tag("nav", tag("ul", *(tag("li", tag("a", name, href=f"#{anchor(name)}")) for name, _ in sections)))
    head = ('<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
            "style-src 'unsafe-inline'\">\n<meta name=\"color-scheme\" content=\"light dark\">\n"
            f'<link rel="icon" href="data:,">\n{tag("title", title)}\n<style>{STYLE}</style>')
    body = join([tag("header", tag("h1", title), intro), contents, tag("main", *(part for _, part in sections)),
                 tag("footer", footer)])
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{body}\n</body>\n</html>\n'
