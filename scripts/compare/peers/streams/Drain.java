import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.streams.StreamsConfig;

/** Tells when a job, which of itself never ends, has worked on all that its topics hold. */
final class Drain implements AutoCloseable {
    private static final long LOOK_MILLISECONDS = 200;

    private final Admin admin;
    private final String application;

    Drain(Properties settings) {
        admin = Admin.create(Map.of("bootstrap.servers", settings.get(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG)));
        application = (String) settings.get(StreamsConfig.APPLICATION_ID_CONFIG);
    }

    /** Waits until the input is read, and after it what the job made of it for itself, its repartition topics. */
    void await(String input) throws Exception {
        while (!isRead(Set.of(input))) {
            Thread.sleep(LOOK_MILLISECONDS);
        }
        Set<String> own = admin.listTopics().names().get().stream()
                .filter(name -> name.startsWith(application) && name.endsWith("-repartition"))
                .collect(Collectors.toSet());
        while (!isRead(own)) {
            Thread.sleep(LOOK_MILLISECONDS);
        }
    }

    private boolean isRead(Set<String> topics) throws Exception {
        Map<TopicPartition, OffsetSpec> asked = admin.describeTopics(topics).allTopicNames().get().values().stream()
                .flatMap(topic -> topic.partitions().stream()
                        .map(partition -> new TopicPartition(topic.name(), partition.partition())))
                .collect(Collectors.toMap(partition -> partition, partition -> OffsetSpec.latest()));
        Map<TopicPartition, ListOffsetsResultInfo> ends = admin.listOffsets(asked).all().get();
        Map<TopicPartition, OffsetAndMetadata> committed =
                admin.listConsumerGroupOffsets(application).partitionsToOffsetAndMetadata().get();
        return ends.entrySet().stream().allMatch(end -> {
            OffsetAndMetadata reached = committed.get(end.getKey());
            return end.getValue().offset() == 0 || (reached != null && reached.offset() >= end.getValue().offset());
        });
    }

    @Override
    public void close() {
        admin.close();
    }
}
