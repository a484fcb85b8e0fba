"""Faces to work on: made-up ones, and readers of face data sets on the local disk."""

from ._readers import load_image_folder, load_lfw, load_mtf, load_utkface
from .synthetic.make_faces import draw_factors, make_faces, render_faces

__all__ = [
    "draw_factors",
    "load_image_folder",
    "load_lfw",
    "load_mtf",
    "load_utkface",
    "make_faces",
    "render_faces",
]
