import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.serialization.SimpleStringSchema;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;

/** A stateless map and filter, exactly once, until it is stopped. Arguments: bootstrap input output. */
final class Relay {
    /** As Kafka Streams' commits. */
    private static final long CHECKPOINT_MILLISECONDS = 100;

    private Relay() {}

    public static void main(String[] arguments) throws Exception {
        StreamExecutionEnvironment environment = Job.environment(1);
        environment.enableCheckpointing(CHECKPOINT_MILLISECONDS);
        environment.setBufferTimeout(0);
        KafkaSource<String> source = KafkaSource.<String>builder()
                .setBootstrapServers(arguments[0])
                .setTopics(arguments[1])
                .setGroupId("compare-flink-" + arguments[1])
                .setStartingOffsets(OffsetsInitializer.earliest())
                .setValueOnlyDeserializer(new SimpleStringSchema())
                .build();
        KafkaSink<String> sink = KafkaSink.<String>builder()
                .setBootstrapServers(arguments[0])
                .setRecordSerializer(KafkaRecordSerializationSchema.<String>builder()
                        .setTopic(arguments[2])
                        .setValueSerializationSchema(new SimpleStringSchema())
                        .build())
                .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
                .setTransactionalIdPrefix("compare-flink-" + arguments[2])
                .setProperty("transaction.timeout.ms", "60000")
                .build();
        environment
                .fromSource(source, WatermarkStrategy.noWatermarks(), "lines")
                .filter(line -> !line.contains(" DEBUG "))
                .map(String::toUpperCase)
                .sinkTo(sink);
        environment.execute();
    }
}
