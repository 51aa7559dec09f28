"""Operations on containers through azure-cosmos: delete by partition key, and what a container has no items for."""

import os
from concurrent.futures import ThreadPoolExecutor

from azure.cosmos import CosmosClient, PartitionKey, exceptions


def client():
    return CosmosClient(os.environ["ENDPOINT"], os.environ["KEY"], connection_verify=os.environ["CA"])


def refused(status, f, *args, **kwargs):
    try:
        f(*args, **kwargs)
    except exceptions.CosmosHttpResponseError as e:
        assert e.status_code == status, e
        return
    raise AssertionError(f"{f.__name__} was not refused")


def make(_):
    """This client reads, then creates: who comes between gets a conflict, here as from the service, and finds it."""
    c = client()
    while True:
        try:
            database = c.create_database_if_not_exists("ops")
            return database.create_container_if_not_exists("c", PartitionKey("/pk"))
        except exceptions.CosmosResourceExistsError:
            continue


# Many clients that all want the same database and container to be there.
with ThreadPoolExecutor(32) as pool:
    container = list(pool.map(make, range(32)))[0]

for n in range(130):
    container.create_item({"id": str(n), "pk": "a" if n < 120 else "b", "n": n})
container.delete_all_items_by_partition_key("a")
assert list(container.query_items("SELECT VALUE COUNT(1) FROM c", enable_cross_partition_query=True)) == [10]
assert len(list(container.read_all_items())) == 10
refused(404, container.read_item, "3", "a")
container.create_item({"id": "3", "pk": "a"})
assert [i["id"] for i in container.query_items("SELECT * FROM c", partition_key="a")] == ["3"]

deep = client().get_database_client("ops").create_container("h", PartitionKey(["/t", "/u"], kind="MultiHash"))
deep.create_item({"id": "1", "t": "x", "u": "y"})
refused(400, deep.delete_all_items_by_partition_key, ["x"])
deep.delete_all_items_by_partition_key(["x", "y"])
assert list(deep.read_all_items()) == []

assert list(container.list_conflicts()) == []
assert list(container.query_conflicts("SELECT * FROM c", enable_cross_partition_query=True)) == []
refused(404, container.get_conflict, "x", "a")
refused(404, container.delete_conflict, "x", "a")

print("ok")
