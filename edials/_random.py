"""Keyed draws, and one seed per stage; the global state of NumPy and torch stays untouched."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import secrets
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

_SEED_LIMIT = 2**31 - 1
_TORCH_GENERATORS = threading.RLock()
_DTYPE_LOCK = threading.Lock()


def stage_seeds(random_state: Any, *stages: str) -> dict[str, int]:
    """Turn ``random_state`` into one independent integer seed per named stage.

    None draws from the operating system, never from NumPy's global generator. A stage's seed
    depends on ``random_state`` and its name alone, so adding a stage does not change the others.
    """
    if random_state is None or random_state is np.random:
        root = secrets.randbits(64)
    else:
        root = int(check_random_state(random_state).randint(_SEED_LIMIT))
    return {
        stage: int.from_bytes(
            hashlib.blake2b(f"{root}:{stage}".encode(), digest_size=8).digest(), "big"
        )
        % _SEED_LIMIT
        for stage in stages
    }


@contextlib.contextmanager
def torch_defaults() -> Iterator[None]:
    """Run a block or a function under torch's own defaults, whatever its caller has set.

    New tensors are float32 and on the CPU, and gradients are recorded: ``set_default_dtype``,
    ``set_default_device``, ``no_grad`` and ``inference_mode`` around the block have no effect.
    """
    on_cpu = torch.get_default_device().type == "cpu"
    device = contextlib.nullcontext() if on_cpu else torch.device("cpu")
    with device, torch.inference_mode(False), torch.enable_grad(), _Float32Default():
        yield


class _Float32Default:
    """float32 as the default, until the last block of all threads ends: they share one default."""

    _depth, _outer = 0, torch.float32

    def __enter__(self) -> None:
        with _DTYPE_LOCK:
            if not _Float32Default._depth:
                _Float32Default._outer = torch.get_default_dtype()
            _Float32Default._depth += 1
            torch.set_default_dtype(torch.float32)

    def __exit__(self, *error: object) -> None:
        with _DTYPE_LOCK:
            _Float32Default._depth -= 1
            if not _Float32Default._depth:
                torch.set_default_dtype(_Float32Default._outer)


@contextlib.contextmanager
def forked_torch(seed: int) -> Iterator[None]:
    """Run a block under its own seed and :func:`torch_defaults`; global generators are restored."""
    # fork_rng defaults to every visible accelerator, so a device of the user's choice is covered.
    # One thread at a time: the generators that blocks in two threads would draw from are the same.
    with _TORCH_GENERATORS, torch_defaults(), torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def new_secret(random_state: Any) -> bytes:
    """Make the 32-byte key of a fit's draws, from a seed or (None) from the operating system.

    Who knows ``random_state`` can derive the key, so a release needs ``random_state=None``.
    """
    if random_state is None:
        return secrets.token_bytes(32)
    seed = stage_seeds(random_state, "draws")["draws"]
    return hashlib.blake2b(f"edials-draws:{seed}".encode(), digest_size=32).digest()


class KeyedMixin:
    """For models that draw by a secret key, made in fit: a copy with another key."""

    _secret: bytes

    def with_new_key(self, random_state: Any = None) -> Any:
        """A copy of the fitted model with a new key, which draws otherwise for the same images.

        One model draws the same for an image every time. A copy with a new key makes an independent
        second release, as somebody who attacks the method would. A model that does not draw stays
        the same: an anonymizer at ``strength=0`` or with ``perturbation="evade"``.

        Parameters
        ----------
        random_state : int, RandomState instance or None, default=None
            None draws the key from the operating system. An integer gives the same key every time,
            but not that of a fit with the same ``random_state``.

        Returns
        -------
        fitted model
            A shallow copy: its parts are those of this one.
        """
        check_is_fitted(self, "_secret")
        again = copy.copy(self)
        if random_state is not None:
            random_state = stage_seeds(random_state, "rekeyed")["rekeyed"]
        again._secret = new_secret(random_state)
        return again


def image_keys(secret: bytes, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Hash every image's pixels with a secret: 16 bytes per image, shape (n_samples, 16).

    An image's key depends on the secret and its own pixels alone: not on its place in the batch, on
    the batch size, or on the other images. So a sharded run equals the serial one, and a second
    release of the same photo by the same model repeats the first instead of adding evidence.
    """
    keys = np.empty((len(images), 16), dtype=np.uint8)
    for row, image in enumerate(images):
        digest = hashlib.blake2b(np.ascontiguousarray(image).data, key=secret, digest_size=16)
        keys[row] = np.frombuffer(digest.digest(), dtype=np.uint8)
    return keys


def keyed_normal(keys: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Draw standard normal numbers (n_samples, *shape), each row from its own image key."""
    draws = np.empty((len(keys), *shape), dtype=np.float32)
    # One generator that is set to every key in turn: a new one takes as long as its numbers.
    bits = np.random.Philox(key=0)
    state: Any = bits.state
    generator = np.random.Generator(bits)
    for row, key in enumerate(keys):
        # As Philox(key=...) takes a number: its lower half first.
        state["state"]["key"] = key.view(">u8")[::-1].astype(np.uint64)
        bits.state = state
        generator.standard_normal(dtype=np.float32, out=draws[row])
    return draws
