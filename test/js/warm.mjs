// Reads documents of a container through @azure/cosmos and says what happened: "N equal", or the
// status and sub-status of the first refusal. The client is made before a line is read from standard
// input, so that a key that goes away in between is met by a client that knows the account already.
import { once } from "node:events";
import { CosmosClient } from "@azure/cosmos";
import { HttpsProxyAgent } from "https-proxy-agent";

const [, , count, cities] = process.argv;
const client = new CosmosClient({
  endpoint: process.env.ENDPOINT,
  key: process.env.KEY,
  agent: new HttpsProxyAgent(process.env.HTTPS_PROXY),
});
const container = client.database("db1").container("c1");

async function read(n) {
  let equal = 0;
  for (let i = 0; i < n; i++) {
    const { resource } = await container.item("doc-" + String(i).padStart(4, "0"), "city-" + (i % Number(cities))).read();
    if (resource?.text === String(i).repeat(50)) equal++;
  }
  return equal;
}

try {
  await read(1);
  console.log("ready");
  await once(process.stdin, "data");
  console.log((await read(Number(count))) + " equal");
} catch (e) {
  console.log(e.code + "/" + e.substatus);
}
process.exit(0);
