"""How Sphinx builds the documentation: `make docs`."""

import importlib.util
import os
import re
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.transforms import SphinxTransform

import skcnn

# The scripts of the gallery store what they compute beside the pages.
os.environ["SKCNN_CACHE_DIR"] = str(Path(__file__).parent / "_build" / "cache")

project = "skcnn"
author = "The skcnn developers"
copyright = author
release = version = skcnn.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "gallery"]
templates_path = ["_templates"]
default_role = "py:obj"

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
copybutton_exclude = ".linenos, .gp, .go"

autodoc_typehints = "none"  # numpydoc's sections say the types
autodoc_default_options = {
    "members": True,
    "inherited-members": True,
    "member-order": "bysource",
}
numpydoc_show_class_members = False
toc_object_entries_show_parents = "hide"

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_examples",
    "doc_module": ("skcnn",),
    "backreferences_dir": "api/backreferences",
    "image_srcset": ["3x"],  # 100 dots per inch, and 300 for print and fine screens
    "abort_on_example_error": True,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "ignore_repr_types": "Display|GridSearchCV",
    "within_subsection_order": "FileNameSortKey",
}

html_theme = "pydata_sphinx_theme"
html_title = "skcnn"
html_static_path = ["_static"]
html_css_files = ["skcnn.css"]
html_show_sourcelink = False
html_sidebars = {"index": [], "tutorial": []}
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}

LINKS = (nodes.reference, pending_xref)
A_PYTHON_NAME = {"refdomain": "py", "reftype": "obj", "refexplicit": True}


def setup(app):
    """Register what is ours."""
    app.connect("autodoc-skip-member", skip_what_is_inherited_from_elsewhere)
    app.add_transform(LinkNamesOfTheApi)


def skip_what_is_inherited_from_elsewhere(app, what, name, obj, skip, options):
    """Leave out the methods of scikit-learn's own classes, tuples and exceptions."""
    if what != "class" or skip:
        return None
    function = getattr(obj, "fget", obj)  # of a property
    owner = getattr(obj, "__objclass__", None)  # of what is written in C
    module = getattr(function, "__module__", None) or getattr(owner, "__module__", "")
    is_inherited = module and not module.startswith("skcnn")
    return True if is_inherited or re.fullmatch("set_.*_request", name) else None


def full_names():
    """Return the full name of each public class and function, by its last part."""
    rooms = [name for name in skcnn.__all__ if is_module(f"skcnn.{name}")]
    return {
        name: f"skcnn.{room}.{name}"
        for room in rooms
        for name in importlib.import_module(f"skcnn.{room}").__all__
    }


def is_module(name):
    """Whether a name is that of a module."""
    return importlib.util.find_spec(name) is not None


class LinkNamesOfTheApi(SphinxTransform):
    """Link each public name that a page or a docstring writes as code.

    So the pages stay plain Markdown, which reads well where they are not built.
    """

    default_priority = 400

    def apply(self, **kwargs):
        """Replace the code of each public name by a link with the code in it."""
        names = full_names()
        for link in self.document.findall(pending_xref):
            link["reftarget"] = names.get(link["reftarget"], link["reftarget"])
        for code in list(self.document.findall(nodes.literal)):
            name = code.astext().partition("(")[0].rpartition(".")[2]
            if name in names and not isinstance(code.parent, LINKS):
                link = pending_xref("", reftarget=names[name], **A_PYTHON_NAME)
                code.replace_self(link)
                link += code
