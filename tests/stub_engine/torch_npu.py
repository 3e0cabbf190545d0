import json
import os

__version__ = json.loads(os.environ["STUB_LIBRARIES"]).get("torch_npu", "0")
