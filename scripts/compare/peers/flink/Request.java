import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import org.apache.flink.api.common.serialization.AbstractDeserializationSchema;

/** What the window count needs of a line. */
public final class Request {
    public long time;
    public int status;
    public String service;
    public long count;

    public Request() {}

    /** The minute, status and service that rows are counted by. */
    public String group() {
        return status + "\t" + service;
    }

    /** Reads a line of nine fields. */
    public static final class Schema extends AbstractDeserializationSchema<Request> {
        private static final long serialVersionUID = 1;

        @Override
        public Request deserialize(byte[] message) throws IOException {
            String[] fields = new String(message, StandardCharsets.UTF_8).split(" ");
            if (fields.length != 9) {
                throw Job.notALine(message);
            }
            Request request = new Request();
            request.time = Instant.parse(fields[1]).toEpochMilli();
            request.status = Integer.parseInt(fields[4]);
            request.service = fields[8];
            request.count = 1;
            return request;
        }
    }
}
