"""Sphinx extension: equations become MathML when the book is built, so that pages need no script."""

from docutils import nodes
from latex2mathml.converter import convert


def _inline(translator, node):
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def _block(translator, node):
    number = f'<span class="eqno">({node["number"]})</span>' if node.get("number") else ""
    ids = "".join(f' id="{i}"' for i in node["ids"][:1])
    equation = convert(node.astext(), display="block")
    translator.body.append(f'<div class="math"{ids}>{number}{equation}</div>')
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
