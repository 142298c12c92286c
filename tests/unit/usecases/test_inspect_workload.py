"""Inspecting a workload: what may be named, and what is refused at once."""

from __future__ import annotations

import os

import pytest

from haulout.errors import NotFoundError, StorageError
from haulout.usecases.inspect_workload import inspect_workload


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StorageError, match="not a regular file"):
        inspect_workload(tmp_path / "pipe")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(NotFoundError, match="no such file"):
        inspect_workload(tmp_path / "disk.img")


def test_a_reference_may_be_text(tmp_path):
    with pytest.raises(NotFoundError, match="does not exist"):
        inspect_workload(f"oci:{tmp_path}/nowhere:1")
