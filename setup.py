"""Compiles the hot path where it is asked for: COMPILE_HOT_PATH=1 pip wheel --no-build-isolation .

The modules stay plain Python, and without the variable they are installed as they are: the compiled ones do the same
in two thirds of the time. What is decoded by its annotations (states, events, outputs, lineups) is not among them: the
compiler leaves out what tuples and lists are of. Nor is what takes whole numbers for `float` (times): it would make
floats of them. Needs a C compiler, Python's headers and mypy.
"""

from __future__ import annotations

import os

from setuptools import setup

HOT_PATH = (
    *(
        f"tracker/domain/{name}.py"
        for name in """
        accounts cart compiling counters feelings fold identity ids journeys latefacts limits merging notices
        orders pace predicates refold remembered rules said scores segments sessions step table triggers
        """.split()
    ),
    "tracker/stream/canonical.py",
    "tracker/stream/controls.py",
    "tracker/stream/links.py",
    "tracker/stream/partition.py",
    "tracker/stream/states.py",
    *(
        f"tracker/wire/{name}.py"
        for name in """
        bounds encode reading dialects/braze/__init__ dialects/common dialects/ga4/__init__ dialects/ga4/params
        dialects/segment/__init__ dialects/segment/track dialects/shopify/__init__ dialects/snowplow/__init__
        dialects/snowplow/described dialects/snowplow/ecommerce dialects/woocommerce
        """.split()
    ),
)

if os.environ.get("COMPILE_HOT_PATH") == "1":
    from mypyc.build import mypycify

    setup(ext_modules=mypycify(list(HOT_PATH), opt_level="3", group_name="tracker"))
else:
    setup()
