"""Sphinx extension: glossary terms are linked at their first use on a page, with their meaning as a title.

A term in running text becomes a link to the glossary once a page; titles, captions, code, equations, tables,
links and definitions are left alone.  Browsers show a link's title, the definition, under the pointer.
"""

import re

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

GLOSSARY = "book/glossary"
LEFT_ALONE = (
    *(nodes.title, nodes.caption, nodes.literal, nodes.literal_block, nodes.reference, nodes.raw, nodes.math),
    *(nodes.math_block, nodes.rubric, nodes.term, nodes.field_list, nodes.table, nodes.strong),
    *(addnodes.pending_xref, addnodes.desc, addnodes.download_reference, addnodes.glossary),
)


def terms_of(text: str) -> dict[str, str]:
    """Terms of a MyST glossary, each with the first sentence of its definition."""
    lines = text.split("```{glossary}")[1].split("```")[0].splitlines()
    terms, current = {}, None
    for line in lines:
        if line.strip() and not line.startswith(" "):
            current = line.strip()
            terms[current] = ""
        elif line.strip() and current:
            terms[current] = f"{terms[current]} {line.strip()}".strip()
    return terms


def pattern_of(terms) -> re.Pattern:
    """Any of the terms as a whole word, singular or plural, longest first."""
    each = "|".join(re.escape(term) for term in sorted(terms, key=len, reverse=True))
    return re.compile(rf"(?<![\w-])({each})(s|es)?(?![\w-])", re.IGNORECASE)


class LinkFirstUse(SphinxTransform):
    """Turn the first use of each term on a page into a link."""

    default_priority = 400

    def apply(self):
        if self.env.docname in (GLOSSARY, "book/api"):
            return
        terms = terms_of((self.env.srcdir / f"{GLOSSARY}.md").read_text())
        canonical = {term.lower(): term for term in terms}
        pattern, used = pattern_of(terms), set()
        for text in list(self.document.findall(nodes.Text)):
            if not _skipped(text):
                _link(text, pattern, canonical, used)


def _skipped(text):
    node = text.parent
    while node is not None and not isinstance(node, nodes.document):
        if isinstance(node, LEFT_ALONE) or {"page-tools", "provenance", "figure-links"} & set(
            node.get("classes", [])
        ):
            return True
        node = node.parent
    return False


def _link(text, pattern, canonical, used):
    words, pieces, end = text.astext(), [], 0
    for match in pattern.finditer(words):
        term = canonical[match[1].lower()]
        if term not in used:
            used.add(term)
            pieces += [nodes.Text(words[end : match.start()]), _reference(match[0], term)]
            end = match.end()
    if pieces:
        text.parent.replace(text, [*pieces, nodes.Text(words[end:])])


def _reference(shown, term):
    target = {"refdomain": "std", "reftype": "term", "reftarget": term, "refexplicit": True, "refwarn": True}
    return addnodes.pending_xref("", nodes.inline("", shown, classes=["std", "std-term"]), **target)


def describe_links(app, doctree, docname):
    """Give links to terms their definition as a title."""
    meanings = _meanings(app.env)
    for link in doctree.findall(nodes.reference):
        anchor = (link.get("refuri", "").split("#") + [""])[1] or link.get("refid", "")
        if anchor in meanings:
            link["reftitle"] = meanings[anchor]


def _meanings(env):
    """Definitions behind the anchors of the glossary."""
    if not hasattr(env, "brainalign_meanings"):
        env.brainalign_meanings = {}
        for item in env.get_doctree(GLOSSARY).findall(nodes.definition_list_item):
            meaning = next(item.findall(nodes.definition)).astext().replace("\n", " ")
            anchors = [anchor for term in item.findall(nodes.term) for anchor in term["ids"]]
            env.brainalign_meanings |= dict.fromkeys(anchors, meaning)
    return env.brainalign_meanings


def setup(app):
    app.add_transform(LinkFirstUse)
    app.connect("doctree-resolved", describe_links, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
