// Reads the documents doc-0000 … of a container through @azure/cosmos and says what happened:
// "N equal", or the status and sub-status of the first refusal. This client knows no proxy of its own
// accord, and Node before version 24 neither: the agent leads Azure's names to the server.
import { CosmosClient } from "@azure/cosmos";
import { HttpsProxyAgent } from "https-proxy-agent";

const [, , count, cities] = process.argv;
const client = new CosmosClient({
  endpoint: process.env.ENDPOINT,
  key: process.env.KEY,
  agent: new HttpsProxyAgent(process.env.HTTPS_PROXY),
});
const container = client.database("db1").container("c1");

try {
  let equal = 0;
  for (let i = 0; i < Number(count); i++) {
    const { resource } = await container.item("doc-" + String(i).padStart(4, "0"), "city-" + (i % Number(cities))).read();
    if (resource?.text === String(i).repeat(50)) equal++;
  }
  console.log(equal + " equal");
} catch (e) {
  console.log(e.code + "/" + e.substatus);
}
