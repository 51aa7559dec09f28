import com.azure.cosmos.CosmosAsyncClient;
import com.azure.cosmos.CosmosAsyncContainer;
import com.azure.cosmos.CosmosClientBuilder;
import com.azure.cosmos.models.CosmosQueryRequestOptions;
import com.azure.cosmos.models.FeedResponse;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.File;

/**
 * Runs the queries of a file against containers through azure-cosmos, which plans them, in pages of several
 * sizes. Each answer is a line of JSON: query, how, results.
 */
public final class Queries {
  private static final ObjectMapper JSON = new ObjectMapper();

  public static void main(String[] args) throws Exception {
    try (CosmosAsyncClient client = new CosmosClientBuilder().endpoint(System.getenv("ENDPOINT")).key(System.getenv("KEY"))
        .gatewayMode().buildAsyncClient()) {
      JsonNode queries = JSON.readTree(new File(args[0]));
      for (int i = 1; i < args.length; i++) {
        CosmosAsyncContainer container = client.getDatabase("d").getContainer(args[i]);
        for (JsonNode q : queries) {
          for (int size : new int[] {3, 100}) {
            System.out.println(JSON.writeValueAsString(run(container, q.get("query").asText(), args[i], size)));
          }
        }
      }
    }
    System.exit(0); // the client's threads may outlive it
  }

  private static ObjectNode run(CosmosAsyncContainer container, String query, String name, int size) {
    ObjectNode answer = JSON.createObjectNode().put("query", query).put("how", name + ", pages of " + size);
    ArrayNode results = answer.putArray("results");
    try {
      for (FeedResponse<JsonNode> page : container.queryItems(query, new CosmosQueryRequestOptions(), JsonNode.class).byPage(size).toIterable()) {
        page.getResults().forEach(results::add);
      }
    } catch (RuntimeException e) {
      answer.put("error", e.toString());
    }
    return answer;
  }
}
