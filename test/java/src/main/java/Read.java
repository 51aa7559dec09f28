import com.azure.cosmos.CosmosAsyncClient;
import com.azure.cosmos.CosmosAsyncContainer;
import com.azure.cosmos.CosmosClientBuilder;
import com.azure.cosmos.CosmosException;
import com.azure.cosmos.models.CosmosItemRequestOptions;
import com.azure.cosmos.models.PartitionKey;
import com.fasterxml.jackson.databind.JsonNode;

/**
 * Reads documents of a container through azure-cosmos and says what happened: "N equal", or status and
 * sub-status of the first refusal. The client is made before the word "go" is read from standard
 * input, so that a key that goes away in between is met by a client that knows the account already.
 */
public final class Read {
  public static void main(String[] args) throws Exception {
    int count = Integer.parseInt(args[0]);
    int cities = Integer.parseInt(args[1]);
    try (CosmosAsyncClient client = client()) {
      CosmosAsyncContainer container = client.getDatabase("db1").getContainer("c1");
      read(container, 1, cities);
      System.out.println("ready");
      System.in.read();
      System.out.println(read(container, count, cities) + " equal");
    } catch (CosmosException e) {
      System.out.println(e.getStatusCode() + "/" + e.getSubStatusCode());
    } catch (RuntimeException e) { // a client that cannot even begin
      if (!(e.getCause() instanceof CosmosException refused)) {
        throw e;
      }
      System.out.println(refused.getStatusCode() + "/" + refused.getSubStatusCode());
    }
    System.exit(0); // the client's threads may outlive it
  }

  private static CosmosAsyncClient client() {
    return new CosmosClientBuilder().endpoint(System.getenv("ENDPOINT")).key(System.getenv("KEY"))
        .gatewayMode().buildAsyncClient();
  }

  private static int read(CosmosAsyncContainer container, int count, int cities) {
    int equal = 0;
    for (int i = 0; i < count; i++) {
      JsonNode item = container.readItem(String.format("doc-%04d", i), new PartitionKey("city-" + i % cities),
          new CosmosItemRequestOptions(), JsonNode.class).block().getItem();
      if (item.get("text").asText().equals(String.valueOf(i).repeat(50))) {
        equal++;
      }
    }
    return equal;
  }
}
