"""Reads documents of a container through azure-cosmos and says what happened: "N equal", or the
status and sub-status of the first refusal. The client is made before a line is read from standard
input, so that a key that goes away in between is met by a client that knows the account already."""

import os
import sys

from azure.cosmos import CosmosClient, exceptions

COUNT, CITIES = int(sys.argv[1]), int(sys.argv[2])


def read(container, count):
    equal = 0
    for i in range(count):
        item = container.read_item(f"doc-{i:04d}", partition_key=f"city-{i % CITIES}")
        equal += item["text"] == str(i) * 50
    return equal


try:
    container = CosmosClient(os.environ["ENDPOINT"], os.environ["KEY"]).get_database_client("db1").get_container_client("c1")
    read(container, 1)
    print("ready", flush=True)
    sys.stdin.readline()
    print(read(container, COUNT), "equal")
except exceptions.CosmosHttpResponseError as e:
    print(f"{e.status_code}/{e.sub_status}")
