"""The Spark jobs, run by spark-submit: Structured Streaming over topics, a DataFrame over a file.

usage: spark_job.py words BOOTSTRAP TOPIC FOLDER | window BOOTSTRAP TOPIC FOLDER | parquet BOOTSTRAP TOPIC FOLDER |
       file FILE FOLDER | relay BOOTSTRAP INPUT OUTPUT FOLDER
"""

import sys

from pyspark.sql import SparkSession
from pyspark.sql.functions import col, date_format, explode, split, to_timestamp, upper, window


def topic(spark, bootstrap, name, **options):
    """Returns the stream of a topic's records from its beginning."""
    reader = spark.readStream.format("kafka").option("kafka.bootstrap.servers", bootstrap)
    return reader.option("subscribe", name).option("startingOffsets", "earliest").options(**options).load()


def save_counts(folder):
    """Returns what writes a micro-batch's whole result as tab-separated values."""

    def save(rows, _epoch):
        rows.write.mode("overwrite").option("sep", "\t").csv(f"{folder}/counts")

    return save


def run_to_end(writer, folder):
    """Works on what is there in one micro-batch, then ends."""
    writer.option("checkpointLocation", f"{folder}/state").trigger(availableNow=True).start().awaitTermination()


def count_words(lines):
    """Returns words with their counts."""
    return lines.select(explode(split(col("value").cast("string"), " ")).alias("word")).groupBy("word").count()


def words(spark, bootstrap, name, folder):
    counts = count_words(topic(spark, bootstrap, name))
    run_to_end(counts.writeStream.outputMode("complete").foreachBatch(save_counts(folder)), folder)


def window_count(spark, bootstrap, name, folder):
    fields = split(col("value").cast("string"), " ")
    requests = topic(spark, bootstrap, name).select(
        to_timestamp(fields[1]).alias("time"), fields[4].cast("int").alias("status"), fields[8].alias("service")
    )
    failed = requests.where("status >= 400").withWatermark("time", "30 seconds")
    counts = failed.groupBy(window("time", "1 minute"), "status", "service").count()
    minute = date_format(col("window.start"), "yyyy-MM-dd'T'HH:mm").alias("minute")
    rows = counts.select(minute, "status", "service", "count")
    run_to_end(rows.writeStream.outputMode("complete").foreachBatch(save_counts(folder)), folder)


def parquet(spark, bootstrap, name, folder):
    records = topic(spark, bootstrap, name, includeHeaders="true")
    writer = records.writeStream.format("parquet").option("path", f"{folder}/parquet").option("compression", "zstd")
    run_to_end(writer, folder)


def file_words(spark, path, folder):
    save_counts(folder)(count_words(spark.read.text(path)), 0)


def relay(spark, bootstrap, source, target, folder):
    lines = topic(spark, bootstrap, source).select(col("value").cast("string").alias("line"))
    kept = lines.where("line NOT LIKE '% DEBUG %'").select(upper("line").alias("value"))
    writer = kept.writeStream.format("kafka").option("kafka.bootstrap.servers", bootstrap).option("topic", target)
    writer.option("checkpointLocation", f"{folder}/state").start().awaitTermination()


JOBS = {"words": words, "window": window_count, "parquet": parquet, "file": file_words, "relay": relay}

if __name__ == "__main__":
    session = SparkSession.builder.getOrCreate()
    JOBS[sys.argv[1]](session, *sys.argv[2:])
    session.stop()
