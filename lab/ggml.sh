#!/bin/sh
# Fetches the sources of ggml's Vulkan shaders into a folder: ggml.sh FOLDER
#
# They are in the source package llama-cpp-python on PyPI, or on the index that PIP_INDEX_URL names. Nothing of it runs:
# pip itself would begin to build the package.
set -eu
folder=$1
rm -rf "$folder"
mkdir -p "$folder"
python3 - "$folder/package.tar.gz" <<'PYTHON'
import hashlib, os, re, sys, urllib.parse, urllib.request

index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/") + "/llama-cpp-python/"
page = urllib.request.urlopen(index).read().decode()
links = [link for link in re.findall(r'href="([^"]+)"', page) if "llama_cpp_python-0.3.36.tar.gz" in link]
if not links:
    sys.exit("ggml: the index has no llama_cpp_python-0.3.36.tar.gz")
address, _, mark = urllib.parse.urljoin(index, links[0]).partition("#")
package = urllib.request.urlopen(address).read()
if mark.startswith("sha256=") and hashlib.sha256(package).hexdigest() != mark.removeprefix("sha256="):
    sys.exit("ggml: the package is not what the index says")
open(sys.argv[1], "wb").write(package)
PYTHON
tar xzf "$folder/package.tar.gz" -C "$folder" --wildcards --strip-components=6 '*/ggml/src/ggml-vulkan/vulkan-shaders/*'
rm "$folder/package.tar.gz"
touch "$folder/done"
