"""Runs the queries of a file against containers through azure-cosmos, in pages of several sizes. Each answer is a
line of JSON: query, how, results."""

import json
import os
import sys

from azure.cosmos import CosmosClient, exceptions

database = CosmosClient(os.environ["ENDPOINT"], os.environ["KEY"], connection_verify=os.environ["CA"]).get_database_client("d")
with open(sys.argv[1], encoding="utf-8") as f:
    queries = json.load(f)
for name in sys.argv[2:]:
    container = database.get_container_client(name)
    for q in queries:
        for size in (3, 100):
            answer = {"query": q["query"], "how": f"{name}, pages of {size}"}
            try:
                answer["results"] = list(container.query_items(q["query"], enable_cross_partition_query=True, max_item_count=size))
            except exceptions.CosmosHttpResponseError as e:
                answer["error"] = str(e)
            print(json.dumps(answer))
