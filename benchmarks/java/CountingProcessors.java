package benchmarks;

import com.amazonaws.services.dynamodbv2.streamsadapter.model.DynamoDBStreamsProcessRecordsInput;
import com.amazonaws.services.dynamodbv2.streamsadapter.processor.DynamoDBStreamsShardRecordProcessor;
import java.util.concurrent.atomic.LongAdder;
import software.amazon.kinesis.common.StreamIdentifier;
import software.amazon.kinesis.lifecycle.events.InitializationInput;
import software.amazon.kinesis.lifecycle.events.LeaseLostInput;
import software.amazon.kinesis.lifecycle.events.ProcessRecordsInput;
import software.amazon.kinesis.lifecycle.events.ShardEndedInput;
import software.amazon.kinesis.lifecycle.events.ShutdownRequestedInput;
import software.amazon.kinesis.processor.ShardRecordProcessor;
import software.amazon.kinesis.processor.ShardRecordProcessorFactory;

/** Record processors that do nothing but count: the least that a consumer by the KCL can cost. */
public final class CountingProcessors implements ShardRecordProcessorFactory {
    private final LongAdder records = new LongAdder();

    /** How many records came, of all shards. */
    public long count() {
        return records.sum();
    }

    @Override
    public ShardRecordProcessor shardRecordProcessor() {
        return new Processor();
    }

    @Override
    public ShardRecordProcessor shardRecordProcessor(StreamIdentifier stream) {
        return new Processor();
    }

    private final class Processor implements DynamoDBStreamsShardRecordProcessor {
        @Override
        public void initialize(InitializationInput given) {}

        @Override
        public void processRecords(DynamoDBStreamsProcessRecordsInput given) {
            records.add(given.records().size());
        }

        @Override
        public void processRecords(ProcessRecordsInput given) {
            records.add(given.records().size());
        }

        @Override
        public void leaseLost(LeaseLostInput given) {}

        @Override
        public void shardEnded(ShardEndedInput given) {}

        @Override
        public void shutdownRequested(ShutdownRequestedInput given) {}
    }
}
