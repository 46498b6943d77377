"""The wheel, with the compiled core where there is a Rust toolchain: everything works the same without it.

`CDC_CORE=off` builds without the core, which an editable installation never has: `make core` builds it in place.
"""

import os
import shutil
import sys

from setuptools import setup

is_wanted = os.environ.get("CDC_CORE") != "off" and "editable_wheel" not in sys.argv

if not is_wanted or shutil.which("cargo") is None:
    setup()
else:
    try:
        from setuptools_rust import Binding, RustExtension
    except ImportError:  # setuptools first asks what the build needs
        setup(setup_requires=["setuptools-rust>=1.11,<2"])
    else:
        core = RustExtension(
            "cdc._core",
            "core/Cargo.toml",
            binding=Binding.PyO3,
            py_limited_api=True,
            debug=False,
            args=["--locked"],
        )
        setup(rust_extensions=[core], options={"bdist_wheel": {"py_limited_api": "cp311"}})
