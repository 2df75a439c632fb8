import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Properties;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.state.QueryableStoreTypes;

/** The word count of Kafka's own quick start: flatMapValues, groupBy, count. Arguments: bootstrap topic folder. */
final class WordCount {
    private WordCount() {}

    public static void main(String[] arguments) throws Exception {
        String topic = arguments[1];
        String folder = arguments[2];
        Properties settings = Job.batch("compare-streams-words-" + System.currentTimeMillis(), arguments[0], folder + "/state");
        StreamsBuilder builder = new StreamsBuilder();
        builder.<String, String>stream(topic)
                .flatMapValues(line -> Arrays.asList(line.split(" ")))
                .groupBy((key, word) -> word)
                .count(Materialized.as("counts"));
        KafkaStreams streams = Job.start(builder.build(), settings);
        try (Drain drain = new Drain(settings)) {
            drain.await(topic);
        }
        var store = streams.store(StoreQueryParameters.fromNameAndType(
                "counts", QueryableStoreTypes.<String, Long>keyValueStore()));
        try (PrintWriter out = new PrintWriter(Files.newBufferedWriter(Path.of(folder, "counts.tsv")));
                var all = store.all()) {
            all.forEachRemaining(count -> out.print(count.key + "\t" + count.value + "\n"));
        }
        System.exit(0);
    }
}
