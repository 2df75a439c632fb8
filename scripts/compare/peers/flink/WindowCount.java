import java.time.Duration;
import java.time.Instant;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.windowing.WindowFunction;
import org.apache.flink.streaming.api.windowing.assigners.TumblingEventTimeWindows;
import org.apache.flink.streaming.api.windowing.windows.TimeWindow;
import org.apache.flink.util.Collector;

/** Failed requests of each minute by status and service. Arguments: bootstrap topic folder. */
final class WindowCount {
    private WindowCount() {}

    public static void main(String[] arguments) throws Exception {
        StreamExecutionEnvironment environment = Job.environment(2);
        var source = Job.topic(arguments[0], arguments[1], new Request.Schema());
        var watermarks = WatermarkStrategy.<Request>forBoundedOutOfOrderness(Duration.ofSeconds(30))
                .withTimestampAssigner((request, earlier) -> request.time);
        var counts = environment
                .fromSource(source, watermarks, "requests")
                .filter(request -> request.status >= 400)
                .keyBy(Request::group)
                .window(TumblingEventTimeWindows.of(Duration.ofMinutes(1)))
                .reduce(WindowCount::add, new Named());
        Job.save(counts, arguments[2], row -> row);
    }

    private static Request add(Request count, Request more) {
        Request sum = new Request();
        sum.time = count.time;
        sum.status = count.status;
        sum.service = count.service;
        sum.count = count.count + more.count;
        return sum;
    }

    /** Puts the window's minute before its count. */
    private static final class Named implements WindowFunction<Request, String, String, TimeWindow> {
        private static final long serialVersionUID = 1;

        @Override
        public void apply(String key, TimeWindow window, Iterable<Request> counts, Collector<String> out) {
            for (Request count : counts) {
                out.collect(Instant.ofEpochMilli(window.getStart()) + "\t" + key + "\t" + count.count);
            }
        }
    }
}
