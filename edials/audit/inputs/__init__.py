"""Originals and releases as an audit reads them: arrays, paths, folders, and files."""
