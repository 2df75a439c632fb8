import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Fills the topics whose segments are kept here, with Kafka's own client. Arguments: brokers, file of lines. */
public class Produce {
    static final int LINES = 400;

    static byte[] bytes(String text) {
        return text == null ? null : text.getBytes(StandardCharsets.UTF_8);
    }

    static KafkaProducer<byte[], byte[]> producer(String brokers, Map<String, String> settings) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", brokers);
        properties.put("linger.ms", "1000");
        properties.putAll(settings);
        return new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static ProducerRecord<byte[], byte[]> record(String topic, Long time, String key, String value) {
        return new ProducerRecord<>("segments-" + topic, 0, time, bytes(key), bytes(value));
    }

    static void create(Admin admin, String topic, Map<String, String> settings) throws Exception {
        NewTopic made = new NewTopic("segments-" + topic, 1, (short) 1).configs(settings);
        admin.createTopics(List.of(made)).all().get();
    }

    public static void main(String[] arguments) throws Exception {
        String brokers = arguments[0];
        List<String> lines = Files.readAllLines(Path.of(arguments[1])).subList(0, LINES);
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", brokers))) {
            for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
                create(admin, "rdkafka-" + codec, Map.of());
                create(admin, "java-" + codec, Map.of());
                try (var producer = producer(brokers, Map.of("compression.type", codec))) {
                    for (String line : lines) {
                        producer.send(record("java-" + codec, 1_800_000_000_000L, null, line));
                    }
                }
            }
            kinds(admin, brokers);
            transactions(admin, brokers);
            compacted(admin, brokers);
        }
    }

    static void kinds(Admin admin, String brokers) throws Exception {
        create(admin, "log-append", Map.of("message.timestamp.type", "LogAppendTime"));
        create(admin, "kinds", Map.of());
        try (var producer = producer(brokers, Map.of())) {
            for (String value : new String[] {"a", "b"}) {
                producer.send(record("log-append", 1_800_000_000_000L, null, value));
            }
            producer.send(record("kinds", 1_800_000_000_000L, "key", "value"));
            producer.send(record("kinds", 1_800_000_000_001L, "", ""));
            producer.send(record("kinds", 1_799_999_999_999L, "gone", null));
            var headers = record("kinds", 0L, null, "with headers");
            headers.headers().add("k", bytes("1")).add("k", null).add("", bytes("")).add("é", bytes("4"));
            producer.send(headers);
        }
    }

    /** Two producers that take turns: one aborts, then commits; the other commits, then aborts. */
    static void transactions(Admin admin, String brokers) throws Exception {
        create(admin, "transactions", Map.of());
        try (var one = producer(brokers, Map.of("transactional.id", "segments-1"));
                var two = producer(brokers, Map.of("transactional.id", "segments-2"))) {
            one.initTransactions();
            two.initTransactions();
            one.beginTransaction();
            two.beginTransaction();
            one.send(record("transactions", 1L, null, "aborted by one"));
            one.flush();
            two.send(record("transactions", 2L, null, "committed by two"));
            two.flush();
            one.send(record("transactions", 3L, null, "aborted by one, too"));
            one.flush();
            one.abortTransaction();
            one.beginTransaction();
            one.send(record("transactions", 4L, null, "committed by one"));
            one.flush();
            two.commitTransaction();
            two.beginTransaction();
            two.send(record("transactions", 5L, null, "aborted by two"));
            two.flush();
            one.commitTransaction();
            two.abortTransaction();
        }
        try (var plain = producer(brokers, Map.of())) {
            plain.send(record("transactions", 6L, null, "in no transaction"));
        }
    }

    /** Keys that come again, later each time by more than a segment lasts: all segments but the last are compacted. */
    static void compacted(Admin admin, String brokers) throws Exception {
        create(admin, "compacted", Map.of(
                "cleanup.policy", "compact", "min.cleanable.dirty.ratio", "0.01", "segment.ms", "1000"));
        for (int round = 0; round < 4; round++) {
            try (var producer = producer(brokers, Map.of("compression.type", "lz4"))) {
                for (int key = 0; key < 6; key++) {
                    if (round < 3 || key % 2 == 0) {
                        producer.send(record("compacted", 1_800_000_000_000L + 10_000 * round, "k" + key, round + "." + key));
                    }
                }
            }
        }
        try (var producer = producer(brokers, Map.of())) {
            producer.send(record("compacted", 1_800_000_100_000L, "last", "last"));
        }
    }
}
