// The JavaScript client against a running server: ENDPOINT and KEY are in the environment, and
// NODE_EXTRA_CA_CERTS makes the server's certificate trusted. Ends with "ok" or with an error.
import assert from "node:assert/strict";
import { CosmosClient } from "@azure/cosmos";

const client = new CosmosClient({ endpoint: process.env.ENDPOINT, key: process.env.KEY });

async function refused(promise, code) {
  await assert.rejects(promise, (e) => {
    assert.equal(e.code, code, e.message);
    return true;
  });
}

const { database } = await client.databases.createIfNotExists({ id: "js" });
await client.databases.createIfNotExists({ id: "js" });
const { container } = await database.containers.createIfNotExists({
  id: "things é",
  partitionKey: { paths: ["/kind"], version: 2 },
  throughput: 400,
});

// Items.
const made = await container.items.create({ id: "1", kind: "a", n: 1 });
assert.equal(made.statusCode, 201);
assert.ok(made.resource._rid && made.resource._etag && made.resource._ts);
await refused(container.items.create({ id: "1", kind: "a" }), 409);
const read = await container.item("1", "a").read();
assert.equal(read.resource.n, 1);
assert.equal((await container.item("none", "a").read()).statusCode, 404);
const replaced = await container.item("1", "a").replace({ id: "1", kind: "a", n: 2 }, { accessCondition: { type: "IfMatch", condition: made.etag } });
assert.equal(replaced.resource.n, 2);
await refused(container.item("1", "a").replace({ id: "1", kind: "a", n: 3 }, { accessCondition: { type: "IfMatch", condition: made.etag } }), 412);
assert.equal((await container.items.upsert({ id: "2", kind: "b" })).statusCode, 201);
assert.equal((await container.items.upsert({ id: "2", kind: "b", x: null })).statusCode, 200);
const patched = await container.item("1", "a").patch([{ op: "incr", path: "/n", value: 5 }]);
assert.equal(patched.resource.n, 7);
await container.items.create({ id: "nokind" });
assert.equal((await container.item("nokind", undefined).read()).resource.id, "nokind");
await container.items.create({ id: "a b/ü".replace("/", "-"), kind: "ключ" });
assert.equal((await container.item("a b-ü", "ключ").read()).statusCode, 200);

// Feeds and queries.
assert.equal((await container.items.readAll().fetchAll()).resources.length, 4);
assert.equal((await container.items.query("SELECT * FROM c").fetchAll()).resources.length, 4);
assert.equal((await container.items.query("SELECT * FROM c", { partitionKey: "a" }).fetchAll()).resources.length, 1);
const page = await container.items.query("SELECT * FROM c", { maxItemCount: 3, partitionKey: undefined }).fetchNext();
assert.equal(page.resources.length, 3);
assert.equal((await client.databases.query({ query: "SELECT * FROM root r WHERE r.id=@id", parameters: [{ name: "@id", value: "js" }] }).fetchAll()).resources.length, 1);
assert.equal((await container.readOffer()).resource.content.offerThroughput, 400);
assert.equal((await container.readPartitionKeyRanges().fetchAll()).resources.length, 1);
assert.deepEqual((await container.items.query("SELECT VALUE c.id FROM c ORDER BY c.id DESC").fetchAll()).resources, ["nokind", "a b-ü", "2", "1"]);
assert.deepEqual((await container.items.query("SELECT VALUE COUNT(1) FROM c").fetchAll()).resources, [4]);
const wanted = { query: "SELECT c.id FROM c WHERE c.kind = @k", parameters: [{ name: "@k", value: "b" }] };
assert.deepEqual((await container.items.query(wanted).fetchAll()).resources, [{ id: "2" }]);
await refused(container.items.query("SELECT FROM WHERE", { partitionKey: "a" }).fetchAll(), 400);

// Batches and bulk.
const batch = await container.items.batch([{ operationType: "Create", resourceBody: { id: "b1", kind: "a" } }, { operationType: "Read", id: "1" }], "a");
assert.deepEqual(batch.result.map((r) => r.statusCode), [201, 200]);
const bulk = await container.items.bulk([
  { operationType: "Create", resourceBody: { id: "k1", kind: "x" } },
  { operationType: "Upsert", partitionKey: "y", resourceBody: { id: "k2", kind: "y" } },
]);
assert.deepEqual(bulk.map((r) => r.statusCode), [201, 201]);

// Scripts are kept and do not run.
const { resource: sproc } = await container.scripts.storedProcedures.create({ id: "add", body: "function add(a) {}" });
assert.ok(sproc._self.includes("/sprocs/"));
await refused(container.scripts.storedProcedures.create({ id: "add", body: "x" }), 409);
await refused(container.scripts.storedProcedure("add").execute("a", [1]), 400);
assert.equal((await container.scripts.trigger("t").read().catch((e) => ({ statusCode: e.code }))).statusCode, 404);
await container.scripts.triggers.create({ id: "t", body: "function t() {}", triggerType: "pre", triggerOperation: "all" });
await container.scripts.userDefinedFunctions.create({ id: "f", body: "function f() {}" });
assert.equal((await container.scripts.userDefinedFunction("f").replace({ id: "f", body: "function g() {}" })).resource.body, "function g() {}");
assert.equal((await container.scripts.triggers.query("SELECT * FROM c WHERE c.id = 't'").fetchAll()).resources[0].triggerType, "Pre");
await refused(container.items.create({ id: "x", kind: "a" }, { preTriggerInclude: "t" }), 400);
assert.deepEqual((await container.conflicts.readAll().fetchAll()).resources, []);
assert.deepEqual((await container.conflicts.query("SELECT * FROM c WHERE c.id = 'x'").fetchAll()).resources, []);
await refused(container.conflict("x").delete(), 404);

// Users, permissions and the tokens that come of them.
const { user } = await database.users.create({ id: "ada" });
assert.equal((await database.users.upsert({ id: "ada" })).statusCode, 200);
const { resource: wide } = await user.permissions.create({ id: "wide", permissionMode: "Read", resource: container.url });
assert.match(wide._token, /^type=resource&ver=1&sig=[^;]+;[^;]+;$/);
const { resource: narrow } = await user.permissions.create({ id: "narrow", permissionMode: "All", resource: container.url, resourcePartitionKey: ["a"] }, { resourceTokenExpirySeconds: 600 });
assert.equal((await user.permissions.readAll().fetchAll()).resources.length, 2);
const bearer = (tokens) => new CosmosClient({ endpoint: process.env.ENDPOINT, resourceTokens: tokens }).database("js").container("things é");
const reader = bearer({ [container.url]: wide._token });
assert.equal((await reader.item("1", "a").read()).resource.n, 7);
assert.equal((await reader.items.query("SELECT * FROM c", { partitionKey: "a" }).fetchAll()).resources.length, 2);
assert.equal((await reader.items.query("SELECT VALUE COUNT(1) FROM c").fetchAll()).resources[0], 7);
assert.equal((await reader.items.readAll().fetchAll()).resources.length, 7);
await refused(reader.items.create({ id: "r", kind: "a" }), 403);
await refused(reader.delete(), 403);
const writer = bearer({ [container.url]: narrow._token });
assert.equal((await writer.items.upsert({ id: "w", kind: "a" })).statusCode, 201);
await refused(writer.items.upsert({ id: "w", kind: "b" }), 403);
await refused(writer.items.query("SELECT * FROM c").fetchAll(), 403);
const feed = new CosmosClient({ endpoint: process.env.ENDPOINT, permissionFeed: [narrow] }).database("js").container("things é");
assert.equal((await feed.item("w", "a").delete()).statusCode, 204);
await user.permission("narrow").replace({ id: "narrow", permissionMode: "All", resource: container.url, resourcePartitionKey: ["b"] });
await refused(writer.item("1", "a").read(), 403);
await user.delete();
await refused(reader.item("1", "a").read(), 403);

// Delete by partition key.
assert.equal((await container.deleteAllItemsForPartitionKey("b")).statusCode ?? 200, 200);
assert.deepEqual((await container.items.query("SELECT VALUE COUNT(1) FROM c", { partitionKey: "b" }).fetchAll()).resources, [0]);
assert.notEqual((await container.items.query("SELECT VALUE COUNT(1) FROM c", { partitionKey: "a" }).fetchAll()).resources[0], 0);

// Ends.
assert.equal((await container.item("1", "a").delete()).statusCode, 204);
await refused(container.item("1", "a").delete(), 404);
await container.delete();
await database.delete();
assert.equal((await client.database("js").read().catch((e) => ({ statusCode: e.code }))).statusCode, 404);
client.dispose();
console.log("ok");
