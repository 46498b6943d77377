"""The wheel. With CDC_COMPILE=1 it holds the modules that every record passes as machine code too, made by mypyc of
the same source; everything works the same without them."""

import os

from setuptools import setup

COMPILED = [
    "cdc/records/attributes.py",
    "cdc/records/change.py",
    "cdc/records/decoding.py",
    "cdc/records/differences.py",
    "cdc/records/encoding.py",
    "cdc/records/identity.py",
    "cdc/records/sequence.py",
    "cdc/records/stream.py",
    "cdc/records/versions.py",
    "cdc/mappings/compiled.py",
    "cdc/mappings/document_id.py",
    "cdc/mappings/fields.py",
    "cdc/mappings/pattern.py",
    "cdc/mappings/value_tests.py",
    "cdc/mappings/writes.py",
    "cdc/sinks/opensearch/bulk.py",
]

if os.environ.get("CDC_COMPILE") != "1":
    setup()
else:
    try:
        from mypyc.build import mypycify
    except ImportError:  # setuptools first asks what the build needs
        setup(setup_requires=["mypy>=1.18,<3", "msgspec>=0.20,<1", "orjson>=3.11,<4", "types-PyYAML>=6,<7"])
    else:
        # what is imported only, and the libraries that the build has not, are `make lint`'s business
        options = ["--ignore-missing-imports", "--follow-imports=silent"]
        setup(ext_modules=mypycify([*options, *COMPILED]))
