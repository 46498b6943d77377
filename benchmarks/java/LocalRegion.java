package benchmarks;

import software.amazon.awssdk.core.SdkRequest;
import software.amazon.awssdk.core.interceptor.Context;
import software.amazon.awssdk.core.interceptor.ExecutionAttributes;
import software.amazon.awssdk.core.interceptor.ExecutionInterceptor;
import software.amazon.awssdk.services.dynamodb.model.DescribeStreamRequest;
import software.amazon.awssdk.services.dynamodb.model.GetShardIteratorRequest;

/**
 * DynamoDB Local knows its streams by ARNs of the region "ddblocal" only, which the KCL's adapter refuses: requests get
 * it on their way out.
 */
public final class LocalRegion implements ExecutionInterceptor {
    @Override
    public SdkRequest modifyRequest(Context.ModifyRequest context, ExecutionAttributes attributes) {
        SdkRequest request = context.request();
        if (request instanceof DescribeStreamRequest) {
            DescribeStreamRequest describe = (DescribeStreamRequest) request;
            return describe.toBuilder().streamArn(local(describe.streamArn())).build();
        }
        if (request instanceof GetShardIteratorRequest) {
            GetShardIteratorRequest iterator = (GetShardIteratorRequest) request;
            return iterator.toBuilder().streamArn(local(iterator.streamArn())).build();
        }
        return request;
    }

    private static String local(String arn) {
        return arn.replaceFirst(":dynamodb:[^:]*:", ":dynamodb:ddblocal:");
    }
}
