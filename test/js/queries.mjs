// Runs the queries of a file against containers through @azure/cosmos, as they are and by their plans, in
// pages of several sizes. Each answer is a line of JSON: query, how, results.
import { readFileSync } from "node:fs";
import { CosmosClient } from "@azure/cosmos";

const client = new CosmosClient({ endpoint: process.env.ENDPOINT, key: process.env.KEY });
const queries = JSON.parse(readFileSync(process.argv[2]));
for (const name of process.argv.slice(3)) {
  const container = client.database("d").container(name);
  for (const { query, mixed, distinctCount } of queries) {
    for (const forceQueryPlan of [false, true]) {
      if (forceQueryPlan && (mixed || distinctCount)) continue; // this client does not know how
      for (const maxItemCount of [3, 100]) {
        let answer;
        try {
          answer = { results: (await container.items.query(query, { forceQueryPlan, maxItemCount }).fetchAll()).resources };
        } catch (e) {
          answer = { error: String(e.body?.message ?? e.message) };
        }
        console.log(JSON.stringify({ query, how: `${name}, ${forceQueryPlan ? "planned" : "direct"}, pages of ${maxItemCount}`, ...answer }));
      }
    }
  }
}
