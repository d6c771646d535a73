import os

import psutil
import requests

API = "http://127.0.0.1:5005"
THRESHOLD = float(os.environ.get("THRESHOLD", 85))

models = requests.get(API + "/running").json()
if psutil.virtual_memory().percent > THRESHOLD and models:
    requests.post(API + "/models/unload", json={"model": models[-1]["model"]})
