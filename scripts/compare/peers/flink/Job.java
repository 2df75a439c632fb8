import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.function.Function;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.configuration.PipelineOptions;
import org.apache.flink.configuration.TaskManagerOptions;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.util.CloseableIterator;

/** What the Flink jobs have in common: a local cluster of two slots, and the topic. */
final class Job {
    private Job() {}

    /** A local cluster; objects are handed on without a copy, since no function here keeps one. */
    static StreamExecutionEnvironment environment(int parallelism) {
        Configuration settings = new Configuration();
        settings.set(PipelineOptions.OBJECT_REUSE, true);
        settings.set(TaskManagerOptions.NETWORK_MEMORY_MIN, MemorySize.ofMebiBytes(64));
        settings.set(TaskManagerOptions.NETWORK_MEMORY_MAX, MemorySize.ofMebiBytes(64));
        StreamExecutionEnvironment environment =
                StreamExecutionEnvironment.createLocalEnvironment(parallelism, settings);
        environment.getConfig().setAutoWatermarkInterval(200);
        return environment;
    }

    /** All that the topic holds at the start. */
    static <T> KafkaSource<T> topic(String bootstrap, String topic, DeserializationSchema<T> schema) {
        return KafkaSource.<T>builder()
                .setBootstrapServers(bootstrap)
                .setTopics(topic)
                .setGroupId("compare-flink-" + topic)
                .setStartingOffsets(OffsetsInitializer.earliest())
                .setBounded(OffsetsInitializer.latest())
                .setValueOnlyDeserializer(schema)
                .build();
    }

    /** Runs the job to its end and writes its rows to counts.tsv. */
    static <T> void save(DataStream<T> rows, String folder, Function<T, String> line) throws Exception {
        CloseableIterator<T> all = rows.executeAndCollect();
        try (PrintWriter out = new PrintWriter(Files.newBufferedWriter(Path.of(folder, "counts.tsv")))) {
            all.forEachRemaining(row -> out.print(line.apply(row) + "\n"));
        } finally {
            all.close();
        }
    }

    /** A schema's way to refuse what these jobs never see. */
    static IOException notALine(byte[] message) {
        return new IOException("not a line of nine fields: " + new String(message));
    }
}
