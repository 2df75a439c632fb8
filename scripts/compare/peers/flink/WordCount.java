import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.serialization.SimpleStringSchema;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.windowing.assigners.GlobalWindows;
import org.apache.flink.util.Collector;

/** The word count of a topic, put out once, at its end. Arguments: bootstrap topic folder. */
final class WordCount {
    private WordCount() {}

    public static void main(String[] arguments) throws Exception {
        StreamExecutionEnvironment environment = Job.environment(2);
        var source = Job.topic(arguments[0], arguments[1], new SimpleStringSchema());
        var counts = environment
                .fromSource(source, WatermarkStrategy.noWatermarks(), "lines")
                .flatMap((String line, Collector<Tuple2<String, Long>> out) -> {
                    for (String word : line.split(" ")) {
                        out.collect(Tuple2.of(word, 1L));
                    }
                })
                .returns(Types.TUPLE(Types.STRING, Types.LONG))
                .keyBy(word -> word.f0, Types.STRING)
                .window(GlobalWindows.createWithEndOfStreamTrigger())
                .reduce((count, more) -> Tuple2.of(count.f0, count.f1 + more.f1));
        Job.save(counts, arguments[2], count -> count.f0 + "\t" + count.f1);
    }
}
