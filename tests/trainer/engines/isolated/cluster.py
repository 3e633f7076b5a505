"""A Ray cluster of nodes with one core each, until standard input ends.

`cluster.py NODES [KERNEL]`: the last node multiplies with that kernel of OpenBLAS.
"""

import os
import sys

from ray.cluster_utils import Cluster

nodes, *kernel = sys.argv[1:]
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
try:
    for number in range(2, int(nodes) + 1):
        if kernel and number == int(nodes):
            (os.environ["OPENBLAS_CORETYPE"],) = kernel
        cluster.add_node(num_cpus=1, node_name=f"node-{number}")
    print(cluster.address, flush=True)
    sys.stdin.read()
finally:
    cluster.shutdown()
