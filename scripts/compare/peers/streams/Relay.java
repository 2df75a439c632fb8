import java.util.Properties;
import org.apache.kafka.streams.StreamsBuilder;

/** A stateless map and filter, exactly once, until it is stopped. Arguments: bootstrap input output folder. */
final class Relay {
    private Relay() {}

    public static void main(String[] arguments) {
        String input = arguments[1];
        Properties settings = Job.exactlyOnce("compare-streams-relay-" + input, arguments[0], arguments[3] + "/state");
        StreamsBuilder builder = new StreamsBuilder();
        builder.<String, String>stream(input)
                .filterNot((key, line) -> line.contains(" DEBUG "))
                .mapValues(line -> line.toUpperCase())
                .to(arguments[2]);
        Job.start(builder.build(), settings);
    }
}
