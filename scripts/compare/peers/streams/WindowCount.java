import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.state.QueryableStoreTypes;
import org.apache.kafka.streams.state.WindowStore;

/** Failed requests of each minute by status and service. Arguments: bootstrap topic folder. */
final class WindowCount {
    /** The tasks of a topic read at their own speeds, so that the rows of all of history may come in any order. */
    private static final Duration GRACE = Duration.ofDays(1);

    private WindowCount() {}

    public static void main(String[] arguments) throws Exception {
        String topic = arguments[1];
        String folder = arguments[2];
        Properties settings = Job.batch("compare-streams-window-" + System.currentTimeMillis(), arguments[0], folder + "/state");
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(
                        topic,
                        Consumed.with(Serdes.String(), Serdes.String())
                                .withTimestampExtractor((line, earlier) -> time((String) line.value())))
                .mapValues(line -> line.split(" "))
                .filter((key, fields) -> Integer.parseInt(fields[4]) >= 400)
                .map((key, fields) -> KeyValue.pair(fields[4] + "\t" + fields[8], ""))
                .groupByKey()
                .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofMinutes(1), GRACE))
                .count(Materialized.<String, Long, WindowStore<Bytes, byte[]>>as("counts")
                        .withRetention(GRACE.plusDays(1)));
        KafkaStreams streams = Job.start(builder.build(), settings);
        try (Drain drain = new Drain(settings)) {
            drain.await(topic);
        }
        var store = streams.store(StoreQueryParameters.fromNameAndType(
                "counts", QueryableStoreTypes.<String, Long>windowStore()));
        try (PrintWriter out = new PrintWriter(Files.newBufferedWriter(Path.of(folder, "counts.tsv")));
                var all = store.all()) {
            all.forEachRemaining(count -> out.print(
                    count.key.window().startTime() + "\t" + count.key.key() + "\t" + count.value + "\n"));
        }
        System.exit(0);
    }

    private static long time(String line) {
        int start = line.indexOf(' ') + 1;
        return Instant.parse(line.substring(start, line.indexOf(' ', start))).toEpochMilli();
    }
}
